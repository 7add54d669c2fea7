"""The stand-alone verifier: two files that a stranger takes away. They import nothing of Penstock, nor it of them."""
