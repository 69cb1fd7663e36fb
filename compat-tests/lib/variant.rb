# A subject that is started with more variables in its environment.

class Variant < Subject
  def initialize(subject, variables)
    super(subject.name, subject.command)
    @variables = variables
  end

  def environment
    super.merge(@variables)
  end
end
