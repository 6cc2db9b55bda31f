"""What is made for the pages."""
