"""What the words after `trimtab system` do, a module for each; `reconciler.cli.system_command` names them."""
