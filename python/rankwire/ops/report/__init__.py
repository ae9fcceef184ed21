"""Reports for people, made from a `Bundle`: a page for the terminal and one HTML file."""
