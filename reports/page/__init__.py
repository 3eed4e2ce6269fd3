"""The leaderboard: one HTML file that needs no network, and the pages of single examples that are drawn on demand."""
