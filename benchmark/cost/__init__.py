"""What runs cost: FLOPs, hours, memory and disk before they start, and speeds measured here."""
