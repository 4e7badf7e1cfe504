"""Every setting, declared once: bounds, units, texts."""
