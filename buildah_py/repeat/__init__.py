"""The same command again where nothing has changed since: answered without planning the build anew.

After a build in which every step was a hit, `api.remember` puts down the command, stamps of all that was read for it
outside of the store, and the rows of the store that it was answered from. `answer` looks whether all that is still so,
and says then what that build said. Whatever it does not understand it leaves to an ordinary build. docs/performance.md.
"""
