"""The built-in dataset `demo`: scenes, their rendering to the bit, and their exact motion."""
