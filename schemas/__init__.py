"""What a manifest may say, and the words everybody shares. No effects: nothing here touches kernel, disk or clock."""
