# Stands in for mocha, which the integration tests load and do not use.

require 'fileutils'
require 'set'
require 'socket'
