# Waiting for a condition, never for a time.

module Wait
  class Timeout < StandardError; end

  CEILING_S = 60
  PAUSE_S = 0.01

  # Returns what the block returns as soon as that is something.
  def self.until(what, ceiling_s: CEILING_S)
    deadline = now + ceiling_s
    loop do
      found = yield
      return found if found
      raise Timeout, "still not after #{ceiling_s} s: #{what}" if now > deadline

      sleep PAUSE_S
    end
  end

  def self.now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
