"""Temper's trainer: knows nothing of Temporal or S3; its contract stands in config/trainer.ts."""
