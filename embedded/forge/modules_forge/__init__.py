"""What this host adds to the package `modules`, under its own name."""
