"""Session service, reconcile and the driver that gives the transports bytes and time."""
