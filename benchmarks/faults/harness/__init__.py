"""What the rules of the fault bench share: studies, kills, disturbances, the truth."""
