"""Every metric, and the collectors behind them."""
