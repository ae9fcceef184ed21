"""What holds a node up: sources, figures, rules, causes and advice."""
