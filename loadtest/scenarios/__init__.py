"""What is measured: a module per scenario, each with one `run` that returns a `report.Measurement`."""
