"""What filters look for in text and what is put in its place: pure, and the same wherever they are asked."""
