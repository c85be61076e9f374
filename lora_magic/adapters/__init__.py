"""What can be attached to a base model, and how it lives beside others on one base."""
