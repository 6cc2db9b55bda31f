"""The supervision layer: its pure policy by matrix and by storm, and real processes under it."""
