"""A folder as it was handed out -> the first draft of a competition's YAML."""
