"""What is done with the statistics: findings and verdict, demands, the report and its figures."""
