"""What all nodes know together: sessions, apps, certificates, the cluster secret."""
