"""How near photos stand to those that a model learns from, and folds that ask as the test photos will."""
