"""What this machine has of what perdure needs: findings, each with its remedy."""
