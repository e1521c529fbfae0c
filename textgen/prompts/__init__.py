"""Recipes, and the plan of requests that is made from them."""
