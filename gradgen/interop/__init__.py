"""gradgen beside other programs: a module for each, imported by those who have the program."""
