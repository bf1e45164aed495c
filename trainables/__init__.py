"""HOW ONE TRIAL IS TRAINED: torch, timm and albumentations. Knows nothing of Ray and nothing of ensembles."""
