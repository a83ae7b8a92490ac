"""Training of networks: recipes, data, the loop."""
