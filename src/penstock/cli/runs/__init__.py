"""``penstock runs``: look at runs, replay them, steer them."""
