"""Examples, image files, and text that training and test share."""
