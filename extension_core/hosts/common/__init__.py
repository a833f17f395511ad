"""What A1111 and Forge have in common: both speak the `modules` interface, and differ in how models are held."""
