"""What outlives containers and what never touches the disk: volumes, and the contents of Secrets and Configs.

The reconciler makes volumes real, reads them back and removes them (`volume`), fills them from an image at first use
(`populate`), keeps contents on a tmpfs (`secrets`) and hands a container its copies (`projection`). What a user stored
in a volume is removed on one condition alone: the caller says `delete_data`.
"""
