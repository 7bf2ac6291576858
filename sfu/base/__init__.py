"""What every layer may use: settings, logs, metrics, ids."""
