"""The project a folder holds: found, decoded, made from the template."""
