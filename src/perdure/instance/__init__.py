"""The program of a machine that is lent: it runs one job's next turn, and leaves nothing behind."""
