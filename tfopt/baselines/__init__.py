"""scikit-learn models and their grids."""
