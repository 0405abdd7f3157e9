mod hostile;
mod made;
mod real;
