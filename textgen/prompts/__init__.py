"""Recipes, and the plan of requests made from them."""
