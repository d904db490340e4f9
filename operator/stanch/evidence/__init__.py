"""What was in force before the first change: collected, freed of credentials, chained and stored."""
