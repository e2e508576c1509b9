"""Episodes as trainers want them."""
