"""Online convex games and their regret."""
