"""What all nodes know together: sessions, apps, certificates, and which nodes there are."""
