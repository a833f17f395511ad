"""DDIL's claim where the teacher is known exactly: mixtures of Gaussians, students that train in seconds."""
