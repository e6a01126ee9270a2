"""The parts of a pass, each alone: what the floor is made of. A module is one part, a function in it gives its :class:`Job`."""
