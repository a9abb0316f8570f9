"""Makes `bench report`: one HTML page with leaderboards, plots, pictures, and the command of every run."""
