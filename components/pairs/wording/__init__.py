"""The words of each language: sentence shapes and grammar, apart from what is said."""
