"""What the words after `trimtab image` do, a module for a kind of them; `reconciler.cli.image_command` names them."""
