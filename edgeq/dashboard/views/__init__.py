"""The pages: each module's `draw(view)` puts one page on the screen."""
