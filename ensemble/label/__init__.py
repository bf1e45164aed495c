"""How the answers of several tasks become the composed label."""
