"""What workflows cause: one class for each step, its neighbours given through the constructor."""
