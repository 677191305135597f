"""What runs beside the user's training: standard library and xxhash; numpy and torch only if the user has them."""
