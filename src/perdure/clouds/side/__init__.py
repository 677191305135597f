"""What runs on a machine that is lent: standard library, obstore, and perdure's own modules."""
